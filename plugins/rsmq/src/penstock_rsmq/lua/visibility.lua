-- Says when messages are visible again, for those whose delivery is still the caller's: a longer lease, or requeued.
--
-- KEYS  1 the queue's zset, 2 the queue's hash, 3 Penstock's marks
-- ARGV  1 milliseconds from now, 2 "id token ..." with spaces; a token is the score that the delivery left,
--       3 seconds for which it is remembered that they were requeued in order; 0 for a longer lease
-- Returns 1 the new token of all of them, 2... the positions, from 0, of those that were left alone

local time = redis.call('TIME')
local visible = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])

-- As in receive.lua: lets the ZADD pass when maxmemory is reached; it changes scores only.
redis.call('HDEL', KEYS[2], '')

local scores, ids, position = {}, {}, 0
local answer = { string.format('%.0f', visible) }
for id, token in string.gmatch(ARGV[2], '(%S+) (%S+)') do
  local score = redis.call('ZSCORE', KEYS[1], id)
  if score and tonumber(score) == tonumber(token) then
    scores[#scores + 1] = visible
    scores[#scores + 1] = id
    ids[#ids + 1] = id
  else
    answer[#answer + 1] = position
  end
  position = position + 1
end
if #scores > 0 then
  redis.call('ZADD', KEYS[1], unpack(scores))
  local keep = tonumber(ARGV[3])
  if keep > 0 then
    for i = 1, #ids do
      redis.call('HSET', KEYS[3], ids[i] .. ':ok', redis.call('HGET', KEYS[2], ids[i] .. ':rc') or 0)
    end
    redis.call('EXPIRE', KEYS[3], keep)
  end
end
return answer
