-- Counts messages without changing anything, by the server's clock.
--
-- KEYS  as in take.lua
-- Returns 1 how many wait, 2 are in flight, 3 are delayed

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ended, leased = redis.call('ZCOUNT', KEYS[2], '-inf', now), redis.call('ZCARD', KEYS[2])
local waiting, delayed = redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[3]) + ended, 0
for i = 4, 5 do
  local due = redis.call('ZCOUNT', KEYS[i], '-inf', now)
  waiting, delayed = waiting + due, delayed + redis.call('ZCARD', KEYS[i]) - due
end
return { waiting, leased - ended, delayed }
