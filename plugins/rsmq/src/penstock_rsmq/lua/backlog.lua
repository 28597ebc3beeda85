-- Counts messages without changing anything, by the server's clock.
--
-- KEYS  1 the queue's zset, 2 the queue's hash, 3 Penstock's marks
-- ARGV  1 most hidden messages that are told apart, 2 most visible ones among which the oldest is looked for
-- Returns 1 how many are visible, 2 how many are hidden, 3 how many of these are delayed (-1: too many to say),
--         4 the lowest id of the visible ones, or ''

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local visible = redis.call('ZCOUNT', KEYS[1], '-inf', now)
local hidden = redis.call('ZCARD', KEYS[1]) - visible
local delayed = -1
if hidden <= tonumber(ARGV[1]) then
  delayed = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
    local count = redis.call('HGET', KEYS[2], id .. ':rc') or '0'
    if count == '0' or redis.call('HGET', KEYS[3], id .. ':ok') == count then
      delayed = delayed + 1
    end
  end
end
local oldest = ''
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  if oldest == '' or id < oldest then
    oldest = id
  end
end
return { visible, hidden, delayed, oldest }
