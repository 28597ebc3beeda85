-- Leases the oldest visible messages, or those of the given ids that are visible.
--
-- KEYS  1 the queue's zset, 2 the queue's hash, 3 Penstock's marks
-- ARGV  1 lease in milliseconds, 2 most messages, 3 most bytes of bodies (one message is always allowed), 4... ids
-- Returns false if nothing is visible, else
--       1 the score of all of them: the fencing token of this delivery, 2 "id receive-count length ..." with spaces,
--       3 the bodies end to end, 4 how many ids without a body were removed,
--       5 "position abandoned ..." of those whose last delivery was neither deleted nor requeued; most often empty
--
-- One joined string costs the client one slice a message; an array of bulk strings costs it a parser's round each.

if redis.call('HEXISTS', KEYS[2], 'vt') == 0 then
  return redis.error_reply('NOQUEUE there is no such queue')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
if #ARGV == 3 then
  found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
else
  for i = 4, #ARGV do
    local visible = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if visible and tonumber(visible) <= now then
      found[#found + 1] = ARGV[i]
    end
  end
end
if #found == 0 then
  return false
end

local bodies = redis.call('HMGET', KEYS[2], unpack(found))
local counters = {}
for i = 1, #found do
  counters[i] = found[i] .. ':rc'
end
local counts = redis.call('HMGET', KEYS[2], unpack(counters))

-- Of those that were received before: at which count they were requeued, and how many calls of them never ended.
local fields, marks = {}, {}
for i = 1, #found do
  if counts[i] then
    fields[#fields + 1], fields[#fields + 2] = found[i] .. ':ok', found[i] .. ':calls'
  end
end
if #fields > 0 then
  marks = redis.call('HMGET', KEYS[3], unpack(fields))
end

-- A write that frees memory comes first: after it Redis lets the others pass although maxmemory is reached, so that
-- a queue that filled it can be drained.
redis.call('HDEL', KEYS[2], '')

local visible = now + tonumber(ARGV[1])
local room = tonumber(ARGV[3])
local scores, heads, taken, suspects = {}, {}, {}, {}
local number, field, orphans, mark = 0, 0, 0, 0
fields = {}
for i = 1, #found do
  local id, body = found[i], bodies[i]
  if not body then
    redis.call('ZREM', KEYS[1], id)
    redis.call('HDEL', KEYS[2], counters[i], id .. ':fr')
    orphans = orphans + 1
    mark = mark + (counts[i] and 2 or 0)
  else
    room = room - #body
    if room < 0 and number > 0 then
      break
    end
    local count = (tonumber(counts[i]) or 0) + 1
    heads[3 * number + 1], heads[3 * number + 2], heads[3 * number + 3] = id, count, #body
    scores[2 * number + 1], scores[2 * number + 2] = visible, id
    if counts[i] then
      local requeued, calls = tonumber(marks[mark + 1] or -1), tonumber(marks[mark + 2] or 0)
      mark = mark + 2
      if requeued + 1 ~= count or calls > 0 then
        suspects[#suspects + 1], suspects[#suspects + 2] = number, calls + 1
      end
    end
    number = number + 1
    taken[number] = body
    fields[field + 1], fields[field + 2] = counters[i], count
    field = field + 2
    if count == 1 then
      fields[field + 1], fields[field + 2] = id .. ':fr', now
      field = field + 2
    end
  end
end
if number > 0 then
  redis.call('ZADD', KEYS[1], unpack(scores))
  redis.call('HSET', KEYS[2], unpack(fields))
  redis.call('HINCRBY', KEYS[2], 'totalrecv', number)
end
return { string.format('%.0f', visible), table.concat(heads, ' '), table.concat(taken), orphans, table.concat(suspects, ' ') }
