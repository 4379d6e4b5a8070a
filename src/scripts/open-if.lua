-- Rule 13, for any number of sessions: an open whose new value depends on the old one, decided where the truth is.
-- (1) Where L is the authority: as open, answer 'L'.
-- (2) Else, if R's state is known (v is there, or R is dirty, or the lease stands under which L was read as absent, or
--     the caller works in a phase in which absence in R is knowledge): run the verb on v. Success: the verb changed v;
--     drop the lease, d := a fresh nonce, answer 'done'. A refusal changes nothing: 'refused'.
-- (3) Else 'unknown': the caller makes it known by a read. Where there are no intents, mode R never opens one, and
--     where absence in R is knowledge it opens none at all (see open).
--
-- A caller that must not overlap with others (rule 9, where L forgets) puts a '1' behind the mode: while intents stand the
-- answer is 'busy', and nothing changes.
--
-- A v of another server of a pool is no knowledge of the caller's. While it is dirty the caller must wait until it is not.
--
-- A set needs no knowledge: where it does not go to L it is R's. As with open, a value is sent only when it is wanted:
-- the kind 'later' stands for it, and '?' asks for it; nothing has changed then.
--
-- ARGV, for each session: how many follow, mode, intent, nonce, sid, lease or '', known '1' | '0', verb, then the verb's
-- own arguments. Answers for each 'L', 'unknown', 'busy', '?', or what the verb answered.

local function open_if(data, side, item, mode, intent, nonce, sid, lease, known, verb, kind, ...)
  local alone = #mode == 2
  mode = string.sub(mode, 1, 1)
  local mark = mark_of(data, side, item, mode == 'R' and (known == '1' or verb == 'set'))
  if alone and has_intents(mark) then
    return 'busy'
  end
  if (mode == 'L' and not is_dirty(mark)) or (mode == 'R' and known ~= '1' and has_intents(mark)) then
    intend(side, mark, intent)
    return 'L'
  end
  local hidden = known ~= '1' and is_hidden(data, mark, item, server_of(sid))
  local is_known = known == '1'
    or verb == 'set'
    or (is_dirty(mark) and not hidden)
    or (lease ~= '' and mark == 'L' .. lease)
    or (is_there(data) and not hidden)
  if not is_known then
    return 'unknown'
  end
  if kind == 'later' then
    return '?'
  end
  if hidden then
    remove(data, item)
  end
  local answer = verbs[verb](data, item, kind, ...)
  if outcome_of(answer) == 'done' then
    become_dirty(data, side, mark, nonce, sid, item)
  end
  return answer
end

local answers = {}
local at = 2
for i = 1, SESSIONS do
  local data, side, item = keys_of(i)
  local last = at + ARGV[at]
  answers[i] = open_if(data, side, item, unpack(ARGV, at + 1, last))
  at = last + 1
end
return answers
