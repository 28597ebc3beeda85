-- Counts entries without changing anything, by the server's clock.
--
-- KEYS  as in fence.lua
-- ARGV  1 the group, 2 where it would begin if it does not exist, 3 most entries that are counted one by one,
--       4 most bytes of them
-- Returns 1 entries that were never delivered, 2 pending ones, 3 requeued ones that are due, 4 that are not,
--         5 the lowest id that is not settled, or '', 6 whether the first number is exact

local stream, due = KEYS[1], KEYS[2]
if redis.call('EXISTS', stream) == 0 then
  return redis.error_reply('NOGROUP there is no such stream')
end
local last, pending, lag = ARGV[2], 0, false
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local seen = {}
  for i = 1, #info, 2 do
    seen[info[i]] = info[i + 1]
  end
  if seen.name == ARGV[1] then
    last, pending, lag = seen['last-delivered-id'], seen.pending, seen.lag
  end
end
if last == '$' then
  last = '+'
end
local exact, after = true, last == '+' and '+' or '(' .. last
if last == '0' or last == '0-0' then
  lag = redis.call('XLEN', stream)
elseif not lag then
  -- Redis 6, or an entry that was never delivered is deleted.
  local room, cursor = tonumber(ARGV[4]), after
  lag = 0
  repeat
    local some = redis.call('XRANGE', stream, cursor, '+', 'COUNT', 20)
    lag = lag + #some
    for _, entry in ipairs(some) do
      for _, text in ipairs(entry[2]) do
        room = room - #text
      end
      cursor = '(' .. entry[1]
    end
    exact = #some < 20
  until exact or room < 0 or lag >= tonumber(ARGV[3])
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ready = redis.call('ZCOUNT', due, '-inf', now)
local oldest = redis.call('XRANGE', stream, after, '+', 'COUNT', 1)[1]
oldest = oldest and oldest[1] or ''
if pending > 0 then
  oldest = redis.call('XPENDING', stream, ARGV[1])[2]
end
return { lag, pending, ready, redis.call('ZCARD', due) - ready, oldest, exact and 1 or 0 }
