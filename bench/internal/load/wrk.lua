-- Sends the requests of a file, each of the same length, one after another. Each
-- thread has a part of its own. Arguments: the file, the length of a request, the
-- first one, how many.
local threads = {}

function setup(thread)
  thread:set("id", #threads)
  table.insert(threads, thread)
end

function init(args)
  length = tonumber(args[2])
  local total, of = tonumber(args[4]), tonumber(args[5])
  share = math.floor(total / of)
  first = tonumber(args[3]) + id * share
  file = assert(io.open(args[1], "rb"))
  file:setvbuf("full", 262144)
  file:seek("set", first * length)
  sent = 0
  again = 0
end

function request()
  if sent == share then
    again = 1
    file:seek("set", first * length)
    sent = 0
  end
  sent = sent + 1
  return file:read(length)
end

function done(summary, latency)
  local e, again = summary.errors, 0
  for _, thread in ipairs(threads) do again = again + thread:get("again") end
  io.write(string.format('\nresult {"requests":%d,"us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"again":%d,"latencies":[',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout, again))
  for i = 1, #latency do
    local us, n = latency(i)
    if i > 1 then io.write(",") end
    io.write(string.format("[%d,%d]", us, n))
  end
  io.write("]}\n")
end
