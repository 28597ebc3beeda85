-- Settles, requeues or extends those deliveries that are still the caller's.
--
-- KEYS  as in take.lua
-- ARGV  1 "id count ..." with spaces, 2 'settle', 'requeue', 'extend' or 'calls', 3 milliseconds from now, or the calls
-- Returns the positions, from 0, of those that were left alone

local leases, back, delayed, data = KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local time = redis.call('TIME')
local what, number = ARGV[2], tonumber(ARGV[3])
local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + number)
redis.call('HDEL', data, '') -- as in take.lua
local late, position = {}, 0
for id, count in string.gmatch(ARGV[1], '(%S+) (%S+)') do
  if redis.call('ZSCORE', leases, id) and (redis.call('HGET', data, 'n:' .. id) or '1') == count then
    if what == 'extend' then
      redis.call('ZADD', leases, at, id)
    elseif what == 'calls' then
      redis.call('HDEL', data, 'c:' .. id)
      if number > 0 then
        redis.call('HSET', data, 'c:' .. id, number)
      end
    else
      redis.call('ZREM', leases, id)
      if what == 'settle' then
        redis.call('HDEL', data, 'b:' .. id, 'n:' .. id, 'c:' .. id)
      elseif number > 0 then
        redis.call('ZADD', delayed, at, id)
      else
        redis.call('ZADD', back, id, id)
      end
    end
  else
    late[#late + 1] = position
  end
  position = position + 1
end
return late
