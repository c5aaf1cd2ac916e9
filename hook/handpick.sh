# shellcheck shell=sh disable=SC3043,SC3045,SC3057
# What runs inside other people's switches, shells and builds. It only leaves word; `handpick sync`
# does the work, later and elsewhere. Sourced by bash, dash or busybox sh, so: names begin with
# _handpick, nothing is set that is not local, nothing goes to stdout, and a caller's `set -euC`,
# traps and descriptors must make no difference. Callers append `|| :`, which switches `-e` off.

# Finds the state folder as src/config/state-directory.ts does. Fails if there is none.
_handpick_find_state() {
  _handpick_state=${HANDPICK_STATE_DIR-}
  if [ -n "$_handpick_state" ]; then
    :
  elif [ "${EUID-}" = 0 ] || { [ -z "${EUID-}" ] && [ -O / ]; }; then
    _handpick_state=/var/lib/handpick # only bash has EUID
  else
    case ${XDG_STATE_HOME-} in
      /*) _handpick_state=$XDG_STATE_HOME/handpick ;;
      *) _handpick_state=${HOME:+$HOME/.local/state/handpick} ;;
    esac
  fi
  case $_handpick_state in
    /*) return 0 ;;
    *) return 1 ;; # below whatever folder the caller is in would be nobody's state
  esac
}

# _handpick_select NAME MANIFEST TOOLS: makes the selection NAME that of the store file MANIFEST.
# TOOLS is the folder of coreutils, since `nix-shell --pure` has no PATH to rely on.
_handpick_select() {
  local _handpick_state
  [ -z "${CI-}${HANDPICK_DISABLE-}" ] || return 0
  _handpick_find_state || return 0
  # Equal too if Nix linked equal manifests to each other: they select the same.
  if [ "$_handpick_state/wanted/$1" -ef "$2" ]; then
    :
  elif [ ! -e "$2" ]; then
    return 0 # collected under a cached shell: a link to it would mean an ended selection
  elif [ -n "${DRY_RUN+set}" ]; then
    [ ! -t 2 ] || printf 'handpick: would select %s\n' "$2" >&2
  else
    (_handpick_relink "$@") </dev/null >/dev/null 2>&1 || :
  fi
  [ -n "${DRY_RUN+set}" ] || _handpick_notify "$3"
}

# The marker comes after the link, and an empty file needs no rename to be whole.
_handpick_relink() {
  umask 077
  [ -d "$_handpick_state/wanted" ] && [ -d "$_handpick_state/spool" ] ||
    "$3/mkdir" -p "$_handpick_state/wanted" "$_handpick_state/spool"
  "$3/ln" -sfn "$2" "$_handpick_state/wanted/.$1.$$" &&
    "$3/mv" -fT "$_handpick_state/wanted/.$1.$$" "$_handpick_state/wanted/$1" &&
    printf '' >|"$_handpick_state/spool/wanted-$1"
}

# _handpick_notify TOOLS: shows what sync wants a person to know, once a day.
_handpick_notify() {
  local _handpick_line _handpick_today _handpick_shown
  [ -s "$_handpick_state/notice" ] && [ -t 2 ] || return 0
  {
    if [ -n "${BASH_VERSION-}" ]; then
      printf -v _handpick_today '%(%F)T' -1 # starts no process
    else
      _handpick_today=$("$1/date" +%F)
    fi
    _handpick_shown=
    read -r _handpick_shown <"$_handpick_state/notice-shown" || :
    [ "$_handpick_shown" != "$_handpick_today" ] || return 0
    read -r _handpick_line <"$_handpick_state/notice" || return 0
    # Not shown where that cannot be remembered: it would come with every prompt.
    printf '%s\n' "$_handpick_today" >|"$_handpick_state/notice-shown" || return 0
    printf '%s\n' "$_handpick_line" >&3
  } 3>&2 2>/dev/null
}

# _handpick_built: puts the DRV_PATH and OUT_PATHS of Nix's post-build-hook into the spool.
_handpick_built() {
  local _handpick_state _handpick_event _handpick_spool
  _handpick_find_state || return 0
  # The hash of the first path, and the process: no other event has both.
  _handpick_event=${DRV_PATH:-${OUT_PATHS-}}
  _handpick_event=${_handpick_event%% *}
  _handpick_event=${_handpick_event##*/}
  _handpick_event=built-${_handpick_event%%-*}-$$
  case $_handpick_event in
    *[!a-z0-9-]* | built--*) return 0 ;;
  esac
  umask 077
  _handpick_spool=$_handpick_state/spool
  [ -d "$_handpick_spool" ] || mkdir -p "$_handpick_spool"
  # Whole or not there: a full disk cuts files short.
  # shellcheck disable=SC2086 # Nix separates the paths by spaces
  if printf '%s\n' "${DRV_PATH-}" ${OUT_PATHS-} >|"$_handpick_spool/.$_handpick_event"; then
    mv -f "$_handpick_spool/.$_handpick_event" "$_handpick_spool/$_handpick_event"
  else
    rm -f "$_handpick_spool/.$_handpick_event"
  fi
}
