# Dalli as an application's cache: ruby dalli.rb HOST PORT PREFIX NAME. It keeps in mind what it wrote, and compares
# every answer with that. Runs until stdin ends, then prints what it counted as JSON.
require "dalli"
require "json"
require "logger"

host, port, prefix, name = ARGV
Dalli.logger = Logger.new(IO::NULL)
$counted = { client: "dalli", operations: 0, failures: 0, first: nil, incremented: 0, guarded: 0, loggedIn: 0 }
$round = 0
ended = false
Thread.new { $stdin.read; ended = true }

def wrong(what)
  $counted[:failures] += 1
  $counted[:first] ||= "round #{$round}: #{what}"
end

def told(value)
  [true, false, nil].include?(value) || value.is_a?(Integer) ? value.inspect : "#{Marshal.dump(value).bytesize} bytes"
end

def same(what, got, expected)
  $counted[:operations] += 1
  wrong("#{what}: #{told(got)} instead of #{told(expected)}") if got != expected
end

# Dalli answers a write that was refused by nil, false or 0, of which Ruby takes the last for true.
def done(answer)
  ![nil, false, 0].include?(answer)
end

# Above 4 KiB Dalli compresses, which it remembers in the flags.
def fresh
  [{ "user" => rand(1 << 30), "cart" => Array.new(rand(20)) { rand(100) } }, "x" * rand(9000), Random.bytes(300), rand(1 << 40)].sample
end

cache = Dalli::Client.new("#{host}:#{port}", socket_timeout: 20, expires_in: 3600)
lock, counter, guarded = %w[lock counter guarded].map { |what| "#{prefix}shared.#{what}" }
[counter, guarded].each { |key| cache.add(key, "0", 0, raw: true) }
values = {}
number = nil
moved = 0

play = lambda do
  key = "#{prefix}#{name}-#{rand(8)}"
  known = values.key?(key)
  value = fresh
  case rand(14)
  when 0, 1
    same("set", done(cache.set(key, value)), true)
    values[key] = value
  when 2, 3 then same("get", cache.get(key), values[key])
  when 4
    same("add", done(cache.add(key, value)), !known)
    values[key] = value unless known
  when 5
    same("replace", done(cache.replace(key, value)), known)
    values[key] = value if known
  when 6
    same("delete", done(cache.delete(key)), known)
    values.delete(key)
  when 7 then same("touch", done(cache.touch(key, 7200)), known)
  when 8 then same("gat", cache.gat(key, 7200), values[key])
  when 9 then same("get_multi", cache.get_multi(*(0..7).map { |n| "#{prefix}#{name}-#{n}" }), values)
  when 10
    swap = -> { done(cache.cas(key) { |old| same("cas sees", old, values[key]); value }) }
    swapped = swap.call
    # The authority may have moved between the two: the change is refused, and a new number has to be asked for.
    swapped = swap.call if known && !swapped && (moved += 1) <= 3
    same("cas", swapped, known)
    values[key] = value if known
    _, token = cache.get_cas(key)
    if known
      swapped = done(cache.set_cas(key, value, token))
      if !swapped && (moved += 1) <= 3
        _, token = cache.get_cas(key)
        swapped = done(cache.set_cas(key, value, token))
      end
      same("set_cas", swapped, true)
      same("stale set_cas", done(cache.set_cas(key, "stale", token)), false)
    end
  when 11
    if number.nil?
      number = 100
      cache.set("#{prefix}#{name}-number", "100", 3600, raw: true)
    end
    same("incr", cache.incr("#{prefix}#{name}-number", 7), number += 7)
    same("decr", cache.decr("#{prefix}#{name}-number", 3), number -= 3)
    cache.incr(counter).nil? ? wrong("a shared counter is gone") : $counted[:incremented] += 1
  when 12
    some = Array.new(3) { |n| ["#{prefix}#{name}-#{n}", fresh] }.to_h
    cache.multi { some.each { |each, its| cache.set(each, its) } }
    values.merge!(some)
    same("get after multi", cache.get(some.keys.first), some.values.first)
    cache.set("aside-#{name}", $round)
    same("get aside", cache.get("aside-#{name}"), $round)
  else
    if done(cache.add(lock, name, 60, raw: true))
      before = cache.get(guarded, raw: true).to_i
      sleep(rand / 1000)
      cache.set(guarded, (before + 1).to_s, 0, raw: true)
      $counted[:guarded] += 1
      same("unlock", done(cache.delete(lock)), true)
    end
  end
end

going = false
until ended
  $round += 1
  if $counted[:operations] >= 20 && !going
    going = true
    puts "going"
    $stdout.flush
  end
  sleep 0.005
  begin
    play.call
  rescue StandardError => e
    wrong("#{e.class}: #{e.message[0, 80]}")
    sleep 0.05
  end
end
$counted[:loggedIn] = values.size
puts JSON.generate($counted)
