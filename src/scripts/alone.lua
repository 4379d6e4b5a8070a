-- The writes of `complete`, where R is alone and there are no marks: the verbs on v, but for the seal.
--
-- ARGV: verb, then the verb's own arguments. Answers as the verb does.

local data, _, item = keys_of(1)
return verbs[ARGV[2]](data, item, unpack(ARGV, 3))
