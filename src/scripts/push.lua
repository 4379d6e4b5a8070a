-- The push of a descent (rule 8): a record that is present, and neither dirty nor under intents, becomes dirty, so
-- that a drainer carries it to an L that may have lost it. Its value does not change.
--
-- ARGV, two for each session: nonce, sid.

for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  local mark = mark_of(data, side, item)
  if not has_intents(mark) and not is_dirty(mark) and is_there(data) then
    become_dirty(data, side, mark, ARGV[2 * i], ARGV[2 * i + 1], item)
  end
end
