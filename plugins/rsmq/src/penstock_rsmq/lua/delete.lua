-- Deletes those messages whose delivery is still the caller's.
--
-- KEYS  1 the queue's zset, 2 the queue's hash, 3 Penstock's marks
-- ARGV  1 "id token ..." with spaces; a token is the score that the delivery left
-- Returns the positions, from 0, of those that were left alone

local ids, fields, left, number, position = {}, {}, {}, 0, 0
for id, token in string.gmatch(ARGV[1], '(%S+) (%S+)') do
  local score = redis.call('ZSCORE', KEYS[1], id)
  if score and tonumber(score) == tonumber(token) then
    fields[3 * number + 1], fields[3 * number + 2], fields[3 * number + 3] = id, id .. ':rc', id .. ':fr'
    number = number + 1
    ids[number] = id
  else
    left[#left + 1] = position
  end
  position = position + 1
end
if number > 0 then
  redis.call('ZREM', KEYS[1], unpack(ids))
  redis.call('HDEL', KEYS[2], unpack(fields))
  if redis.call('EXISTS', KEYS[3]) == 1 then
    for i = 1, number do
      redis.call('HDEL', KEYS[3], ids[i] .. ':ok', ids[i] .. ':calls')
    end
  end
end
return left
