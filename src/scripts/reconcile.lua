-- The dirty index and the sidecars say the same: the index names a session exactly while its sidecar says dirty, since
-- the scripts never change one without the other. A sidecar that was evicted, or removed by somebody's hand, leaves a name
-- behind that no undirty takes away. What the name still tells is that R was ahead of L:
--
-- intents stand: L has been trusted since. The name goes.
-- v is there, or the name's place is a destroy's: dirty again under the nonce that is offered, as with a broken sidecar.
--   A v without a mark is L's value, or ahead of it, so that pushing it is right in either case.
-- Neither: v was a value and has gone. Whether it ran out or was evicted nobody knows: L keeps what it has, the name goes.
--
-- ARGV, two for each session: nonce, sid. Answers for each 1 where neither mark nor name is left, 0 where it is dirty.

local function reconcile(data, side, item, nonce, sid)
  local mark = mark_of(data, side, item)
  if is_dirty(mark) then
    return 0
  end
  local score = score_of(sid)
  if not score then
    return 1
  end
  if not has_intents(mark) and (is_there(data) or tonumber(score) < 0) then
    redis.call('SET', side, 'D' .. nonce)
    return 0
  end
  redis.call('ZREM', KEYS[2], sid)
  return 1
end

local answers = {}
for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  answers[i] = reconcile(data, side, item, ARGV[2 * i], ARGV[2 * i + 1])
end
return answers
