-- Stores messages; one that is larger than the queue's maxsize is left out, the others go through.
--
-- KEYS  1 the queue's zset, 2 the queue's hash
-- ARGV  1 22 random characters, 2 "length delay ..." with spaces, a delay in milliseconds or '-' for the queue's own,
--       3 the bodies end to end
-- Returns 1 the queue's maxsize in bytes (-1: none), 2... the positions, from 0, of what was left out
--
-- An id is the time in microseconds to the base of 36 and the random characters. Inside a call the time counts up by one
-- a message, so ids are unique and in order; the random part keeps calls of the same microseconds apart.

local attributes = redis.call('HMGET', KEYS[2], 'vt', 'delay', 'maxsize')
if not attributes[1] then
  return redis.error_reply('NOQUEUE there is no such queue')
end
local own_delay = math.floor((tonumber(attributes[2]) or 0) * 1000 + 0.5)
local maxsize = tonumber(attributes[3]) or -1

local DIGITS = '0123456789abcdefghijklmnopqrstuvwxyz'
local function base36(number, width)
  local text = ''
  while number > 0 or #text < width do
    local digit = number % 36
    text = string.sub(DIGITS, digit + 1, digit + 1) .. text
    number = (number - digit) / 36
  end
  return text
end

local time = redis.call('TIME')
local microseconds = time[1] * 1000000 + time[2]
local now = math.floor(microseconds / 1000)
-- The leading digits are the same for 46,656 microseconds; they are made once for all of these.
local tail = microseconds % 46656
local lead = base36((microseconds - tail) / 46656, 1)

local too_large = { maxsize }
local scores, fields, number, position, first = {}, {}, 0, 0, 1
for length, delay in string.gmatch(ARGV[2], '(%d+) (%S+)') do
  length = tonumber(length)
  if maxsize >= 0 and length > maxsize then
    too_large[#too_large + 1] = position
  else
    if tail == 46656 then
      microseconds = microseconds + 46656
      tail = 0
      lead = base36((microseconds - microseconds % 46656) / 46656, 1)
    end
    local id = lead .. base36(tail, 3) .. ARGV[1]
    tail = tail + 1
    scores[2 * number + 1], scores[2 * number + 2] = now + (tonumber(delay) or own_delay), id
    fields[2 * number + 1], fields[2 * number + 2] = id, string.sub(ARGV[3], first, first + length - 1)
    number = number + 1
  end
  first = first + length
  position = position + 1
end
if number > 0 then
  redis.call('ZADD', KEYS[1], unpack(scores))
  redis.call('HSET', KEYS[2], unpack(fields))
  redis.call('HINCRBY', KEYS[2], 'totalsent', number)
end
return too_large
