-- Sends what the job file asks for, checks every answer, and ends with a line of JSON: see load.py.

local job = dofile(os.getenv("BENCH_JOB"))
local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
  local server = job.servers[(#threads - 1) % #job.servers + 1]
  thread.addr = wrk.lookup(server.host, server.port)[1]
end

function init()
  wrong, exhausted, example = 0, 0, ""
  asked = {}
  if not job.ids then return end
  ids = {}
  local line_number = 0
  for id in io.lines(job.ids) do  -- every thread has its own share
    line_number = line_number + 1
    if line_number % job.threads == number % job.threads then table.insert(ids, id) end
  end
  next_id = 0
end

function request()
  if not job.ids then return job.head .. job.tail end
  next_id = next_id + 1
  local id = ids[next_id]
  if not id then
    exhausted = exhausted + 1
    next_id, id = 1, ids[1]
  end
  asked[id] = true
  local request = job.head .. id .. job.tail
  if not job.acknowledgement then return request end
  return request .. job.acknowledgement[1] .. id .. job.acknowledgement[2]
end

-- The answer to a reveal holds the id that was asked for, by nobody else and for the first time.
local function is_right(body)
  if not job.names_id then return body:find(job.answer_head, 1, true) ~= nil end
  local id = body:sub(#job.answer_head + 1, #job.answer_head + 5)
  local first_time = asked[id]
  asked[id] = nil
  return first_time and body == job.answer_head .. id .. job.answer_tail
end

function response(status, _, body)
  if job.acknowledgement and status == 204 then return end
  if status ~= job.status or not is_right(body) then
    wrong = wrong + 1
    if example == "" then example = status .. " " .. body:sub(1, 200):gsub("[^%w ]", "_") end
  end
end

function done(summary, latency)
  local all_wrong, all_exhausted, any_example = 0, 0, ""
  for _, thread in ipairs(threads) do
    all_wrong = all_wrong + thread:get("wrong")
    all_exhausted = all_exhausted + thread:get("exhausted")
    any_example = any_example .. thread:get("example")
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"seconds": %f, "requests": %d, "errors": %d, "wrong": %d, "exhausted": %d, "example": "%s", '
      .. '"p50_ms": %f, "p99_ms": %f, "max_ms": %f}\n',
    summary.duration / 1e6, summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout, all_wrong, all_exhausted, any_example,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
