-- Looks at whole records, each at one moment, and changes nothing but a broken sidecar. For rule 4, second step (v and d together), and for
-- the check. Answers {mark or '', value or nothing, expiry, what the item key holds, when it was dirty like this or 0} for
-- each session.

local views = {}
local seen
for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  local mark = mark_of(data, side, item) or ''
  seen = seen or (is_dirty(mark) and now())
  local kept = item and string_in(item) or ''
  views[i] = { mark, string_in(data), expiry_of(data), kept, is_dirty(mark) and seen or 0 }
end
return views
