#!/bin/sh
# Runs an ECS task once and waits for its end: prints what it logged last, and exits as it did.
# Needs the AWS CLI, and of AWS what `terraform apply` has anyway.
#
# usage: run_task.sh REGION CLUSTER TASK_DEFINITION [COMMAND...]     COMMAND in place of the task's own
# environment: PATIENCE, seconds to wait for the task (14400); POLL, seconds between looks (5)
set -eu

region=$1 cluster=$2 task_definition=$3
shift 3
deadline=$(($(date +%s) + ${PATIENCE:-14400}))

say() { echo "run_task: $*" >&2; }
die() { say "$@"; exit 1; }
ecs() { aws ecs --region "$region" --output text "$@"; }
pause() {
    [ "$(date +%s)" -lt "$deadline" ] || die "not done after ${PATIENCE:-14400} seconds; apply again to continue waiting"
    sleep "${POLL:-5}"
}

command -v aws >/dev/null || die "the AWS CLI is missing: install it, then apply again"

definition=$(ecs describe-task-definition --task-definition "$task_definition" --query 'taskDefinition.[
    taskDefinitionArn,
    family,
    containerDefinitions[0].name,
    containerDefinitions[0].logConfiguration.options."awslogs-group",
    containerDefinitions[0].logConfiguration.options."awslogs-stream-prefix"]')
field() { echo "$definition" | cut -f "$1"; }
revision=$(field 1) family=$(field 2) container=$(field 3) log_group=$(field 4) log_prefix=$(field 5)

# The command as JSON. No command that is used here contains quotes or backslashes.
overrides='{}'
if [ $# -gt 0 ]; then
    words=
    for word; do
        case $word in *[\"\\]*) die "a command cannot hold quotes or backslashes: $word" ;; esac
        words="$words,\"$word\""
    done
    overrides="{\"containerOverrides\":[{\"name\":\"$container\",\"command\":[${words#,}]}]}"
fi

# Waits until $task has stopped; leaves what became of it in $state.
wait_for_task() {
    until
        state=$(ecs describe-tasks --cluster "$cluster" --tasks "$task" \
            --query 'tasks[0].[lastStatus, containers[0].exitCode, containers[0].reason, stoppedReason]') || exit 1
        [ "$(echo "$state" | cut -f 1)" = STOPPED ]
    do
        pause
    done
}

# If an earlier apply was cut off while its task ran, waits for that task and starts no second one. A task of an
# older version must end first.
task=None
if [ $# -eq 0 ]; then
    task=$(ecs list-tasks --cluster "$cluster" --family "$family" --desired-status RUNNING --query 'taskArns[0]')
fi
if [ "$task" != None ]; then
    say "$family is running already, waiting for it: $task"
    running=$(ecs describe-tasks --cluster "$cluster" --tasks "$task" --query 'tasks[0].taskDefinitionArn')
    if [ "$running" != "$revision" ]; then
        wait_for_task
        task=None
    fi
fi

if [ "$task" = None ]; then
    # A new instance needs a minute or two until its agent has joined the cluster.
    until
        instances=$(ecs describe-clusters --clusters "$cluster" \
            --query 'clusters[0].registeredContainerInstancesCount') || exit 1
        [ "$instances" -gt 0 ]
    do
        say "waiting for an instance to join $cluster"
        pause
    done

    # Its memory may be taken for a moment, by the task that an update is about to replace.
    until
        started=$(ecs run-task --cluster "$cluster" --launch-type EC2 --task-definition "$task_definition" \
            --started-by run_task --overrides "$overrides" \
            --query '[tasks[0].taskArn, failures[0].reason]') || exit 1
        task=$(echo "$started" | cut -f 1)
        [ "$task" != None ]
    do
        say "$family cannot be placed yet: $(echo "$started" | cut -f 2)"
        pause
    done
    say "started $family: $task"
fi

wait_for_task

aws logs get-log-events --region "$region" --log-group-name "$log_group" --limit 20 \
    --log-stream-name "$log_prefix/$container/${task##*/}" \
    --query 'events[].[message]' --output text 2>/dev/null || say "no log in $log_group"

exit_code=$(echo "$state" | cut -f 2) reason=$(echo "$state" | cut -f 3-)
case $exit_code in
0) say "$family ended well" ;;
None) die "$family never ran: $reason" ;;
*) die "$family failed with exit code $exit_code: $reason. Its log is in $log_group" ;;
esac
