-- Redis before 7.0 cannot tell the time of expiry itself; the time that is left and the clock tell it to within a
-- millisecond.
expiry_of = function(data)
  local left = redis.call('PTTL', data)
  if left < 0 then
    return left
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + left
end
