-- Says when messages are visible again, for those whose delivery is still the caller's: a longer lease, or given back.
--
-- KEYS  1 the queue's zset, 2 the queue's hash
-- ARGV  1 milliseconds from now, 2 "id token ..." with spaces; a token is the score that the delivery left
-- Returns 1 the new token of all of them, 2... the positions, from 0, of those that were left alone

local time = redis.call('TIME')
local visible = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])

-- As in receive.lua: lets the ZADD pass when maxmemory is reached; it changes scores only.
redis.call('HDEL', KEYS[2], '')

local scores, position = {}, 0
local answer = { string.format('%.0f', visible) }
for id, token in string.gmatch(ARGV[2], '(%S+) (%S+)') do
  local score = redis.call('ZSCORE', KEYS[1], id)
  if score and tonumber(score) == tonumber(token) then
    scores[#scores + 1] = visible
    scores[#scores + 1] = id
  else
    answer[#answer + 1] = position
  end
  position = position + 1
end
if #scores > 0 then
  redis.call('ZADD', KEYS[1], unpack(scores))
end
return answer
