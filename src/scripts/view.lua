-- Looks at whole records, each at one moment, and changes nothing. For rule 4, second step (v and d together), and for
-- the check. Answers {mark or '', value or nothing, expiry} for each session.

local views = {}
for i = 1, (#KEYS - 2) / 2 do
  local data, side = KEYS[1 + 2 * i], KEYS[2 + 2 * i]
  views[i] = { redis.call('GET', side) or '', redis.call('GET', data), expiry_of(data) }
end
return views
