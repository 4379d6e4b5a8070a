-- Rule 10 where R is the authority anyway: the seal is rewritten for the run that the server is in now, unless
-- somebody changed it meanwhile. This script stands alone: it is about the seal that the others require.
--
-- ARGV: the seal as it was read, the seal as it shall be.

if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
return 0
