#!/bin/sh
# Watches a migration and takes it back to the phase below when something is wrong. Copy it and make it yours: it uses
# nothing but the sessionferry command, its exit codes and its JSON.
#
#   rollback-on-alarm.sh [--every SECONDS] [--sample N] [--strikes N] [--floor PHASE] [--once] [-- OPTION...]
#
#   --every SECONDS   how often to look (30); whole seconds
#   --sample N        sessions of each side that a look compares (1000)
#   --strikes N       so many bad looks in a row at Redis or the nodes are an alarm (3); differences are one at once
#                     (from redis-first on Redis is right: they are told, and a human repairs before going back)
#   --floor PHASE     never go below this phase (dual-write: there nobody reads Redis, so nobody is hurt)
#   --once            look once (a bad look is an alarm then) and end
#   -- OPTION...      goes to every command, for instance --config /etc/shop/sessionferry.yaml
#
# SESSIONFERRY names the command, "sessionferry" unless set.
#
# Ends with 0 when it was told to look once and all was well, or when there is nothing to watch (legacy, complete);
# with 4 after an alarm, rolled back unless that would go below the floor or the stores differ from redis-first on;
# otherwise with the exit code of the command that failed; with 2 also where an option is wrong.
set -u

refuse() {
  echo "rollback-on-alarm: $1" >&2
  exit 2
}

every=30 sample=1000 allowed=3 floor=dual-write once=no
while [ $# -gt 0 ]; do
  case $1 in
    --every | --sample | --strikes | --floor) [ $# -gt 1 ] || refuse "$1 needs a value" ;;
  esac
  case $1 in
    --every) every=$2; shift 2 ;;
    --sample) sample=$2; shift 2 ;;
    --strikes) allowed=$2; shift 2 ;;
    --floor) floor=$2; shift 2 ;;
    --once) once=yes; shift ;;
    --) shift; break ;;
    *) refuse "unknown option $1" ;;
  esac
done
command=${SESSIONFERRY:-sessionferry}

log() {
  printf '%s rollback-on-alarm: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >&2
}

# The value at a path such as pending.direction in the JSON on stdin; nothing for null, or what is no JSON.
json() {
  node -e '
    let text = "";
    process.stdin.on("data", (part) => (text += part)).on("end", () => {
      let document;
      try { document = JSON.parse(text); } catch {}
      const value = process.argv[1].split(".").reduce((at, key) => at?.[key], document);
      console.log(value === null || value === undefined ? "" : String(value));
    });' "$1"
}

below() {
  case $1 in
    full-redis) echo redis-first ;;
    redis-first) echo read-through ;;
    read-through) echo dual-write ;;
    *) echo legacy ;;
  esac
}

rank() {
  case $1 in
    legacy) echo 0 ;;
    dual-write) echo 1 ;;
    read-through) echo 2 ;;
    redis-first) echo 3 ;;
    full-redis) echo 4 ;;
    *) echo 5 ;;
  esac
}

redis_is_away() {
  $command status --json "$@" >"$folder/now.json" && [ -z "$(json redis <"$folder/now.json")" ]
}

nothing_is_pending() {
  $command status --json "$@" >"$folder/now.json" && [ -z "$(json pending <"$folder/now.json")" ]
}

# Goes down to a phase, or out of the step that is under way where none is named, however often it takes: 6 says that the
# step is pending and must be repeated, 7 that another command holds the migration, 5 that a store is away for the moment.
roll_back() {
  why=$1
  goal=$2
  shift 2
  tries=0
  while :; do
    $command phase rollback --reason "alarm: $why" --json --yes ${goal:+--to "$goal"} "$@" >"$answer" </dev/null
    code=$?
    # Somebody else has finished the step that no phase was named for: from there the way down is another one.
    case $goal:$code in
      :[2567])
        if nothing_is_pending "$@"; then
          log "no step is pending any more"
          if [ $once = yes ]; then exit 4; fi
          return
        fi
        ;;
    esac
    case $code in
      0)
        log "rolled back: it stands at $(json to.phase <"$answer") $(json to.percent <"$answer") %"
        exit 4
        ;;
      5 | 6 | 7)
        tries=$((tries + 1))
        log "phase rollback ended with $code: $(json error.message <"$answer")"
        # From redis-first on nobody can go on without it; below, the fleet leaves it behind by itself.
        if { [ $tries -ge 5 ] && [ $code -eq 5 ]; } ||
          { [ $tries -ge 2 ] && [ "$(rank "$phase")" -ge 3 ] && redis_is_away "$@"; }; then
          log "Redis stays away: see RUNBOOK.md about phase rollback --to dual-write --redis-lost"
          exit 5
        fi
        sleep 2
        ;;
      *)
        log "phase rollback ended with $code: $(json error.message <"$answer") $(json error.remedy <"$answer")"
        exit $code
        ;;
    esac
  done
}

alarm() {
  why=$1
  shift
  log "ALARM at $phase $percent %: $why"
  # The check took its time: a step that was under way then may be over, and the way back another one.
  if $command status --json "$@" >"$folder/now.json"; then
    mv "$folder/now.json" "$state"
    phase=$(json phase <"$state")
  fi
  if [ "$(json pending.direction <"$state")" = up ]; then
    # It ends where it began.
    roll_back "$why" "" "$@"
    return
  fi
  goal=$(below "$phase")
  if [ "$(rank "$goal")" -lt "$(rank "$floor")" ]; then
    log "$goal lies below the floor $floor: nothing is rolled back; a human should look"
    if [ $once = yes ]; then exit 4; fi
    return
  fi
  roll_back "$why" "$goal" "$@"
}

# Where Redis is the authority, going back would bring what is wrong before the users.
differ() {
  if [ "$(rank "$phase")" -lt 3 ]; then alarm "$@"; return; fi
  log "ALARM at $phase $percent %: $1; repair before going back: see RUNBOOK.md, The stores differ"
  if [ $once = yes ]; then exit 4; fi
}

# A wrong value would be noticed by nobody: no phase lies above an unknown floor, and no watch waits for a wrong time.
whole() {
  case $2 in
    '' | 0* | *[!0-9]* | ??????????*) refuse "$1 takes a whole number from 1 on, not \"$2\"" ;;
  esac
}
whole --every "$every"
whole --sample "$sample"
whole --strikes "$allowed"
[ "$(rank "$floor")" -lt 5 ] ||
  refuse "--floor takes legacy, dual-write, read-through, redis-first or full-redis, not \"$floor\""

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
state=$folder/status.json
answer=$folder/answer.json
strikes=0

while :; do
  $command status --json "$@" >"$state"
  code=$?
  bad=
  if [ $code -eq 0 ]; then
    phase=$(json phase <"$state")
    percent=$(json percent <"$state")
    if { [ "$phase" = legacy ] || [ "$phase" = complete ]; } && [ -z "$(json pending <"$state")" ]; then
      log "the migration stands at $phase: there is nothing to watch"
      exit 0
    fi
    if [ "$(json mirror.healthy <"$state")" = false ]; then
      bad="$(json mirror.withoutRedis <"$state") nodes without Redis, $(json mirror.gaps <"$state") writes missed"
    elif [ -z "$(json redis <"$state")" ]; then
      bad="Redis is away"
    else
      $command check --sample "$sample" --json "$@" >"$answer" 2>"$folder/log"
      code=$?
      case $code:$(json error.code <"$answer") in
        0:*)
          if [ -n "$(json planted.missed <"$answer")" ] || [ "$(json witness.disagreed <"$answer")" -gt 0 ] 2>/dev/null; then
            log "ALARM at $phase $percent %: the check does not see what it should: $(json whyNot <"$answer") See sessionferry doctor"
            code=4
          fi
          ;;
        4:*) differ "the stores differ: $(json findings <"$answer")" "$@" ;;
        5:* | 3:REDIS_LOST) bad="a store is away: $(json error.message <"$answer")" ;;
        130:*) exit 130 ;;
        1:* | 2:* | 3:*)
          # It cannot run, and would not the next time either: a watch that sees nothing must not look like one.
          log "check ended with $code: $(json error.message <"$answer") $(json error.remedy <"$answer")"
          exit $code
          ;;
        *) bad="check ended with $code: $(json error.message <"$answer")" ;;
      esac
    fi
  elif [ $code -eq 5 ]; then
    # Without the control store nothing can be steered; sessions go on being served.
    log "status ended with 5: $(json error.message <"$state")"
  else
    log "status ended with $code: $(json error.message <"$state")"
    exit $code
  fi

  if [ -n "$bad" ]; then
    strikes=$((strikes + 1))
    log "bad look $strikes of $allowed: $bad"
    if [ $once = yes ] || [ $strikes -ge "$allowed" ]; then alarm "$bad" "$@"; fi
  else
    strikes=0
  fi
  if [ $once = yes ]; then exit $code; fi
  sleep "$every" || exit 2
done
