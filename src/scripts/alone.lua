-- The writes of `complete`, where R is alone and there are no marks, for any number of sessions: the verbs on v, but for
-- the seal.
--
-- ARGV, for each session: how many follow, verb, then the verb's own arguments. Answers for each as its verb does.

local answers = {}
local at = 2
for i = 1, SESSIONS do
  local data, _, item = keys_of(i)
  local last = at + ARGV[at]
  answers[i] = verbs[ARGV[at + 1]](data, item, unpack(ARGV, at + 2, last))
  at = last + 1
end
return answers
