-- memcached's verbs on v, where R decides: this text stands between the common one and the scripts that run verbs.
--
-- Each verb looks at v, and changes it and answers 'done' (with the item, where the caller must be told: value, expiry,
-- what the item key holds), or leaves it and answers 'absent', 'present', 'changed' or 'not-a-number'. Its arguments:
-- kind, value, expiry: as put takes them; for incr and decr those of the item that is made where there is none;
-- token: the item must have it, '' for any; fresh: the token that a changed item gets, '' for none;
-- usual: the flags (4 bytes) of an item whose item key is not there; number: by how much, or the longest value.

-- 2^64 in two parts of ten digits, since Lua's numbers are exact up to 2^53 only.
local PART = 10000000000
local LIMIT = { 1844674407, 3709551616 }

local function parts_of(digits)
  digits = string.rep('0', 20 - #digits) .. digits
  return { tonumber(string.sub(digits, 1, 10)), tonumber(string.sub(digits, 11)) }
end

local function is_less(a, b)
  return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
end

local function minus(a, b)
  local high, low = a[1] - b[1], a[2] - b[2]
  if low < 0 then
    high, low = high - 1, low + PART
  end
  return { high, low }
end

local function plus(a, b)
  local high, low = a[1] + b[1], a[2] + b[2]
  if low >= PART then
    high, low = high + 1, low - PART
  end
  local sum = { high, low }
  return is_less(sum, LIMIT) and sum or minus(sum, LIMIT)
end

local function text_of(parts)
  if parts[1] == 0 then
    return string.format('%.0f', parts[2])
  end
  return string.format('%.0f%010.0f', parts[1], parts[2])
end

-- As memcached reads it: digits up to a blank or the end, perhaps after blanks and a plus; nil beyond 64 bits.
local function number_in(text)
  local digits, behind = string.match(text, '^%s*%+?(%d+)(.?)')
  if not digits or (behind ~= '' and not string.find(behind, '%s')) then
    return nil
  end
  digits = string.gsub(digits, '^0+', '')
  if #digits > 20 then
    return nil
  end
  local parts = parts_of(digits)
  return is_less(parts, LIMIT) and parts or nil
end

-- v := another value, whose flags and expiry stay; the token is the fresh one, or none.
local function revalue(data, item, value, fresh, usual)
  redis.call('SET', data, value, 'KEEPTTL')
  if not item then
    return
  end
  local flags = string.sub(kept_in(item), 1, 4)
  if flags == '' then
    flags = usual
  end
  keep(data, item, (fresh ~= '' or flags ~= usual) and flags .. fresh or '')
end

-- Gives the item a token if none was given out for it; what the item key holds then.
local function with_token(data, item, fresh, usual)
  local kept = kept_in(item)
  if not item or fresh == '' or #kept > 4 then
    return kept
  end
  kept = (kept == '' and usual or kept) .. fresh
  keep(data, item, kept)
  return kept
end

local function has_other(item, token)
  return token ~= '' and string.sub(kept_in(item), 5) ~= token
end

local function extend(join)
  return function(data, item, _, more, _, token, fresh, usual, longest)
    local value = string_in(data)
    if not value then
      return 'absent'
    end
    if has_other(item, token) then
      return 'changed'
    end
    if #value + #more > tonumber(longest) then
      return 'absent'
    end
    revalue(data, item, join(value, more), fresh, usual)
    return 'done'
  end
end

local function count(compute)
  return function(data, item, kind, initial, expiry, token, fresh, usual, by)
    local value = string_in(data)
    if not value then
      if kind == 'none' then
        return 'absent'
      end
      put(data, item, kind, initial, expiry)
      return { 'done', initial, expiry == '' and -1 or tonumber(expiry), string.sub(kind, 6) }
    end
    if has_other(item, token) then
      return 'changed'
    end
    local number = number_in(value)
    if not number then
      return 'not-a-number'
    end
    local text = text_of(compute(number, parts_of(by)))
    -- memcached writes into the place of the old value where the new one fits, and fills up with blanks.
    revalue(data, item, text .. string.rep(' ', #value - #text), fresh, usual)
    return { 'done', text, expiry_of(data), kept_in(item) }
  end
end

local verbs = {
  set = function(data, item, kind, value, expiry)
    put(data, item, kind, value, expiry)
    return 'done'
  end,

  add = function(data, item, kind, value, expiry)
    if is_there(data) then
      return 'present'
    end
    put(data, item, kind, value, expiry)
    return 'done'
  end,

  replace = function(data, item, kind, value, expiry)
    if not is_there(data) then
      return 'absent'
    end
    put(data, item, kind, value, expiry)
    return 'done'
  end,

  cas = function(data, item, kind, value, expiry, token)
    if not is_there(data) then
      return 'absent'
    end
    if has_other(item, token) then
      return 'changed'
    end
    put(data, item, kind, value, expiry)
    return 'done'
  end,

  append = extend(function(value, more)
    return value .. more
  end),

  prepend = extend(function(value, more)
    return more .. value
  end),

  incr = count(plus),

  decr = count(function(number, by)
    return is_less(number, by) and { 0, 0 } or minus(number, by)
  end),

  delete = function(data, item, _, _, _, token)
    if not is_there(data) then
      return 'absent'
    end
    if has_other(item, token) then
      return 'changed'
    end
    remove(data, item)
    return 'done'
  end,

  touch = function(data, item, _, _, expiry, _, fresh, usual)
    if not is_there(data) then
      return 'absent'
    end
    local kept = with_token(data, item, fresh, usual)
    move_expiry(data, item, expiry)
    return { 'done', false, 0, kept }
  end,

  ['get-and-touch'] = function(data, item, _, _, expiry, _, fresh, usual)
    local value = string_in(data)
    if not value then
      return 'absent'
    end
    local kept = with_token(data, item, fresh, usual)
    move_expiry(data, item, expiry)
    return { 'done', value, expiry == '' and -1 or tonumber(expiry), kept }
  end,
}

-- What a verb answered, without the item.
local function outcome_of(answer)
  return type(answer) == 'table' and answer[1] or answer
end
