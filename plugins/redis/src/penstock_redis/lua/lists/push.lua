-- Appends records; one with a delay waits outside of the list until it is due.
--
-- KEYS  as in take.lua
-- ARGV  1 'L' or 'R': the end that is pushed to, 2 random characters, 3 "length delay ..." with spaces, delays in
--       milliseconds, 4 the bodies end to end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first, number, bodies = 1, 0, {}
for length, delay in string.gmatch(ARGV[3], '(%d+) (%d+)') do
  local body = string.sub(ARGV[4], first, first + length - 1)
  first, number = first + length, number + 1
  if delay == '0' then
    bodies[#bodies + 1] = body
  else
    redis.call('ZADD', KEYS[5], string.format('%.0f', now + delay), ARGV[2] .. number .. ':' .. body)
  end
end
if #bodies > 0 then
  redis.call(ARGV[1] .. 'PUSH', KEYS[1], unpack(bodies))
end
return number
