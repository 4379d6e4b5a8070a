-- Looks at whole records, each at one moment, and changes nothing but a broken sidecar. For rule 4, second step (v and d together), and for
-- the check. Answers {mark or '', value or nothing, expiry, what the item key holds} for each session.

local views = {}
for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  views[i] = { mark_of(data, side, item) or '', string_in(data), expiry_of(data), item and string_in(item) or '' }
end
return views
