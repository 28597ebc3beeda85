-- Counts the messages that are visible now, by the server's clock.
--
-- KEYS  1 the queue's zset

local time = redis.call('TIME')
return redis.call('ZCOUNT', KEYS[1], '-inf', time[1] * 1000 + math.floor(time[2] / 1000))
