-- Sends the requests of a file, all of one length, one after another. Each thread has
-- its own share. Arguments: file, length of a request, first request, how many, threads.
local threads = {}

function setup(thread)
  thread:set("id", #threads)
  table.insert(threads, thread)
end

function init(args)
  length = tonumber(args[2])
  share = math.floor(tonumber(args[4]) / tonumber(args[5]))
  first = tonumber(args[3]) + id * share
  file = assert(io.open(args[1], "rb"))
  file:setvbuf("full", 262144)
  file:seek("set", first * length)
  sent = 0
  repeated = 0
end

function request()
  if sent == share then
    repeated = 1
    file:seek("set", first * length)
    sent = 0
  end
  sent = sent + 1
  return file:read(length)
end

function done(summary, latency)
  local e, repeated = summary.errors, 0
  for _, thread in ipairs(threads) do repeated = repeated + thread:get("repeated") end
  io.write(string.format('\nresult {"requests":%d,"us":%d,"errors":%d,"repeated":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout, repeated,
    latency:percentile(50), latency:percentile(99)))
end
