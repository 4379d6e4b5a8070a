-- memcached's verbs on v, where R decides: this text stands between the common one and the scripts that run verbs.
--
-- Each verb looks at v, and changes it and answers 'done' (with the item, where the caller must be told: value, expiry,
-- what the item key holds), or leaves it and answers 'absent', 'present', 'changed' or 'not-a-number'. Its arguments:
-- kind, value, expiry: as put takes them; for incr and decr those of the item that is made where there is none;
-- token: the item must have it, '' for any; fresh: the token that a changed item gets, '' for none;
-- usual: the flags (4 bytes) of an item whose item key is not there; number: by how much, or the longest value.
--
-- A call of a script makes all of its functions anew, so those that hardly any verb needs stand within the one that does.

-- The text of the number after incr, or decr ('down'), as memcached has it: unsigned, 64 bits; nil where the text is none.
local function counted(text, by, down)
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

  -- Digits up to a blank or the end, perhaps after blanks and a plus.
  local digits, behind = string.match(text, '^%s*%+?(%d+)(.?)')
  if not digits or (behind ~= '' and not string.find(behind, '%s')) then
    return nil
  end
  digits = string.gsub(digits, '^0+', '')
  local number = #digits <= 20 and parts_of(digits)
  if not number or not is_less(number, LIMIT) then
    return nil
  end
  local step = parts_of(by)
  local parts
  if not down then
    parts = plus(number, step)
  elseif is_less(number, step) then
    parts = { 0, 0 }
  else
    parts = minus(number, step)
  end
  if parts[1] == 0 then
    return string.format('%.0f', parts[2])
  end
  return string.format('%.0f%010.0f', parts[1], parts[2])
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

-- What keeps a verb from an item that must be there, and have the token if one is given; nil for nothing.
local function refusal(there, item, token)
  if not there then
    return 'absent'
  end
  if token and token ~= '' and string.sub(kept_in(item), 5) ~= token then
    return 'changed'
  end
  return nil
end

local function write(data, item, kind, value, expiry)
  put(data, item, kind, value, expiry)
  return 'done'
end

local function overwrite(data, item, kind, value, expiry, token)
  return refusal(is_there(data), item, token) or write(data, item, kind, value, expiry)
end

local function extend(in_front, data, item, _, more, _, token, fresh, usual, longest)
  local value = string_in(data)
  local refused = refusal(value, item, token)
  if refused then
    return refused
  end
  if #value + #more > tonumber(longest) then
    return 'absent'
  end
  revalue(data, item, in_front and more .. value or value .. more, fresh, usual)
  return 'done'
end

local function count(down, data, item, kind, initial, expiry, token, fresh, usual, by)
  local value = string_in(data)
  if not value and kind ~= 'none' then
    put(data, item, kind, initial, expiry)
    return { 'done', initial, expiry == '' and -1 or tonumber(expiry), string.sub(kind, 6) }
  end
  local refused = refusal(value, item, token)
  if refused then
    return refused
  end
  local text = counted(value, by, down)
  if not text then
    return 'not-a-number'
  end
  -- memcached writes into the place of the old value where the new one fits, and fills up with blanks.
  revalue(data, item, text .. string.rep(' ', #value - #text), fresh, usual)
  return { 'done', text, expiry_of(data), kept_in(item) }
end

local verbs = {
  set = write,
  replace = overwrite,
  cas = overwrite,

  add = function(data, item, kind, value, expiry)
    return is_there(data) and 'present' or write(data, item, kind, value, expiry)
  end,

  append = function(...)
    return extend(false, ...)
  end,

  prepend = function(...)
    return extend(true, ...)
  end,

  incr = function(...)
    return count(false, ...)
  end,

  decr = function(...)
    return count(true, ...)
  end,

  delete = function(data, item, _, _, _, token)
    local refused = refusal(is_there(data), item, token)
    if not refused then
      remove(data, item)
    end
    return refused or 'done'
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
