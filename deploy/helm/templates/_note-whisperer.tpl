{{/* Parts that several templates use. */}}

{{/* Values that are needed together with others; values.schema.json checks each by itself. */}}
{{- define "note-whisperer.check" -}}
{{- with $.Values -}}
{{- if .ingress.enabled -}}
{{- range $name := list "tlsSecretName" "controllerNetworks" -}}
{{- if not (index $.Values.ingress $name) -}}{{- fail (printf "set ingress.%s" $name) -}}{{- end -}}
{{- end -}}
{{- if and .networkPolicy.enabled (not .ingress.controllerPeers) -}}
{{- fail "set ingress.controllerPeers, or networkPolicy.enabled=false" -}}
{{- end -}}
{{- else if not .tls.secretName -}}
{{- fail "set tls.secretName, or ingress.enabled" -}}
{{- end -}}
{{- if and .networkPolicy.enabled (not .networkPolicy.databases) -}}
{{- fail "set networkPolicy.databases, or networkPolicy.enabled=false" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "note-whisperer.labels" -}}
app.kubernetes.io/name: note-whisperer
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The pods of one component: call with (list . "web"). */}}
{{- define "note-whisperer.selector" -}}
app.kubernetes.io/name: note-whisperer
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* One of the three images: call with (list . "server"). */}}
{{- define "note-whisperer.image" -}}
{{- $ := index . 0 -}}
image: "{{ $.Values.image.repository }}/{{ index . 1 }}:{{ $.Values.image.tag | default $.Chart.AppVersion }}"
imagePullPolicy: {{ $.Values.image.pullPolicy }}
{{- end }}

{{/* What every pod has in common, for its uid: no rights, no token of Kubernetes. */}}
{{- define "note-whisperer.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The security of a container, for its uid. */}}
{{- define "note-whisperer.hardened" -}}
securityContext:
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
{{- end }}

{{/* Where the database URLs of a secret are, and the authorities that they name. */}}
{{- define "note-whisperer.database-mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: database-urls, mountPath: /run/note-whisperer, readOnly: true }
{{- if .Values.databaseAuthorities.configMap }}
- { name: database-authorities, mountPath: /run/database-authorities, readOnly: true }
{{- end }}
{{- end }}

{{/* Their volumes: call with (list . "the secret's name"). */}}
{{- define "note-whisperer.database-volumes" -}}
- name: tmp
  emptyDir: { medium: Memory, sizeLimit: 16Mi }
- name: database-urls
  secret: { secretName: {{ index . 1 | quote }}, defaultMode: 0440 }
{{- with (index . 0).Values.databaseAuthorities.configMap }}
- name: database-authorities
  configMap: { name: {{ . | quote }} }
{{- end }}
{{- end }}

{{/* Where a pod may connect to: names, and the databases. */}}
{{- define "note-whisperer.egress" -}}
egress:
  - ports:
      - { port: 53, protocol: UDP }
      - { port: 53, protocol: TCP }
  - to: {{ toYaml .Values.networkPolicy.databases | nindent 6 }}
    ports:
      - { port: 5432, protocol: TCP }
{{- end }}
