# shellcheck shell=sh disable=SC2015,SC3013,SC3028,SC3043,SC3044,SC3045,SC3057
# Runs inside other people's switches, shells and builds. Only records; `handpick sync`
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

# _handpick_select NAME MANIFEST TOOLS [PROGRAM [CONFIG]]: makes the selection NAME that of the store
# file MANIFEST. TOOLS is the folder of coreutils, since `nix-shell --pure` has no PATH to rely on. Where
# no service manager watches the spool, PROGRAM, a path or a name on PATH, is started in the
# background, with the configuration CONFIG or else the user's; without one this records and no more.
_handpick_select() {
  local _handpick_state
  [ -z "${CI-}${HANDPICK_DISABLE-}" ] || return 0
  _handpick_find_state || return 0
  # Equal too if Nix linked equal manifests to each other: they select the same.
  if [ "$_handpick_state/wanted/$1" -ef "$2" ]; then
    [ -z "${4-}" ] || [ -n "${DRY_RUN+set}" ] || ! _handpick_is_time "$1" "$3" ||
      (_handpick_start "$3" "$4" "${5-}") </dev/null >/dev/null 2>&1 || :
  elif [ ! -e "$2" ]; then
    return 0 # collected under a cached shell: a link to it would mean an ended selection
  elif [ -n "${DRY_RUN+set}" ]; then
    [ ! -t 2 ] || printf 'handpick: would select %s\n' "$2" >&2
  else
    ( (_handpick_relink "$@") && [ -n "${4-}" ] && _handpick_start "$3" "$4" "${5-}") </dev/null >/dev/null 2>&1 || :
  fi
  [ -n "${DRY_RUN+set}" ] || _handpick_notify "$3"
}

# _handpick_enter PART [TOOLS]: goes into a part of the state folder, which is no link. Root does so in the
# folder of a service, which must not lead it elsewhere: there the kernel says where that is, since links
# may be changed at any moment. Here and below nothing that exists is opened for writing.
_handpick_enter() {
  local _handpick_place
  cd -P "$_handpick_state" || return 1
  if [ -O . ]; then
    [ ! -L "$1" ] || return 1
    cd "./$1" || return 1
  else
    _handpick_place=$(_handpick_pwd "${2-}") && cd "./$1" &&
      [ "$(_handpick_pwd "${2-}")" = "$_handpick_place/$1" ]
  fi
}

# The shell's own only remembers.
_handpick_pwd() {
  if [ -n "$1" ]; then "$1/pwd" -P; else env pwd -P; fi
}

# The marker comes after the link, and an empty file needs no rename to be whole. One that is there
# will do. Changes the working directory.
_handpick_relink() {
  umask 077
  set -C
  [ -d "$_handpick_state/wanted" ] && [ -d "$_handpick_state/spool" ] ||
    "$3/mkdir" -p "$_handpick_state/wanted" "$_handpick_state/spool"
  _handpick_enter spool "$3" && _handpick_enter wanted "$3" &&
    "$3/ln" -sfn "$2" ".$1.$$" && "$3/mv" -fT ".$1.$$" "$1" &&
    _handpick_enter spool "$3" &&
    { [ -e "wanted-$1" ] || printf '' >"wanted-$1" || [ -e "wanted-$1" ]; }
}

# _handpick_date FORMAT TOOLS: puts the time into _handpick_now, which is the caller's.
_handpick_date() {
  # Bash needs no process for it, but for that of macOS, which is older.
  [ -n "${BASH_VERSION-}" ] && printf -v _handpick_now "%($1)T" -1 ||
    _handpick_now=$("$2/date" "+$1")
}

# _handpick_is_time NAME TOOLS: succeeds if the marker of NAME is still there, or the time in `due` has
# come, which sync writes. Anything but a time of the next day counts as now.
_handpick_is_time() {
  local _handpick_due _handpick_now
  [ ! -e "$_handpick_state/spool/wanted-$1" ] || return 0
  [ -f "$_handpick_state/due" ] || return 1
  {
    _handpick_due=
    read -r _handpick_due <"$_handpick_state/due" || :
    case $_handpick_due in
      '' | *[!0-9]* | ???????????*) return 0 ;;
    esac
    _handpick_date %s "$2"
    [ "$_handpick_due" -le "$_handpick_now" ] || [ "$_handpick_due" -gt "$((_handpick_now + 86400))" ]
  } 2>/dev/null
}

# _handpick_start TOOLS PROGRAM CONFIG: starts a sync in the background, unless somebody else does. Runs
# in a subshell of its own, for it makes that ready: direnv waits until nobody has its descriptors, Nix
# removes the folder for temporary files, and signals of the terminal are not for us. Nor is the
# configuration that a project's shell names: the sync pushes all that is wanted on this machine.
_handpick_start() {
  local _handpick_fd _handpick_now
  ! _handpick_is_served && command -v "$2" &&
    (_handpick_claim "$1" && { "$1/ln" -sfT "$_handpick_now" ../started || :; }) || return 0
  trap '' HUP INT QUIT
  unset TMPDIR TMP TEMP TEMPDIR NIX_BUILD_TOP HANDPICK_CONFIG
  # nix-shell --pure sets variables that keep builds from the network.
  [ "${SSL_CERT_FILE-}" != /no-cert-file.crt ] || unset SSL_CERT_FILE
  [ "${NIX_SSL_CERT_FILE-}" != /no-cert-file.crt ] || unset NIX_SSL_CERT_FILE
  exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
  if [ -n "${BASH_VERSION-}" ]; then
    for _handpick_fd in /dev/fd/*; do
      case ${_handpick_fd##*/} in
        ? | 255 | *[!0-9]*) ;;
        *) eval "exec ${_handpick_fd##*/}>&-" ;;
      esac
    done
  fi
  set -- "$2" sync --detach ${3:+"--config=$3"}
  # The program makes a session of its own, but not at once, and macOS has no setsid.
  if command -v setsid; then
    setsid "$@" &
  else
    command "$@" &
  fi
}

# Succeeds if a running service manager watches the spool.
_handpick_is_served() {
  local _handpick_file
  set +f
  [ -z "${BASH_VERSION-}" ] || shopt -u failglob
  if [ -S "${XDG_RUNTIME_DIR:-/run/user/${UID-}}/systemd/private" ]; then
    for _handpick_file in "${XDG_CONFIG_HOME:-${HOME-}/.config}" /etc; do
      ! _handpick_has_spool "$_handpick_file/systemd/user/handpick.path" || return 0
    done
  fi
  if [ -d /run/systemd/system ]; then
    ! _handpick_has_spool /etc/systemd/system/handpick.path || return 0
  fi
  for _handpick_file in "${HOME-}"/Library/LaunchAgents/*handpick*.plist /Library/Launch*/*handpick*.plist; do
    ! _handpick_has_spool "$_handpick_file" || return 0
  done
  return 1
}

# Succeeds if a unit file or a property list names the spool.
_handpick_has_spool() {
  local _handpick_line
  [ -f "$1" ] || return 1
  while read -r _handpick_line || [ -n "$_handpick_line" ]; do
    case $_handpick_line in
      *"$_handpick_state/spool"* | *=%*/handpick/spool*) return 0 ;;
    esac
  done <"$1"
  return 1
}

# _handpick_claim TOOLS: lets one of many that record at once start the sync, which deals with what
# all of them left: it removes the link before it looks. One that did not get so far in a minute is
# dead. What a link says is there as soon as the link is. Changes the working directory, and leaves the time
# in _handpick_now, which is the caller's.
_handpick_claim() {
  local _handpick_then
  _handpick_date %s "$1"
  _handpick_enter spool "$1" || return 1
  ! "$1/ln" -sT "$_handpick_now" starting || return 0
  _handpick_then=$("$1/readlink" starting)
  case $_handpick_then in
    '' | *[!0-9]* | ???????????*) ;;
    *)
      _handpick_then=$((_handpick_now - _handpick_then))
      [ "$_handpick_then" -lt 0 ] || [ "$_handpick_then" -ge 60 ] || return 1
      ;;
  esac
  "$1/ln" -sfT "$_handpick_now" starting
}

# _handpick_notify TOOLS: shows what sync wants a person to know, once a day.
_handpick_notify() {
  local _handpick_line _handpick_now _handpick_shown
  [ -s "$_handpick_state/notice" ] && [ -t 2 ] || return 0
  {
    _handpick_date %F "$1"
    _handpick_shown=
    [ ! -f "$_handpick_state/notice-shown" ] ||
      read -r _handpick_shown <"$_handpick_state/notice-shown" || :
    [ "$_handpick_shown" != "$_handpick_now" ] || return 0
    read -r _handpick_line <"$_handpick_state/notice" || return 0
    case $_handpick_line in
      *[[:cntrl:]]*) return 0 ;; # what sync writes has none that a terminal obeys
    esac
    # Not shown where that cannot be remembered: it would come with every prompt.
    "$1/rm" -f "$_handpick_state/notice-shown" &&
      (set -C && printf '%s\n' "$_handpick_now" >"$_handpick_state/notice-shown") || return 0
    printf '%s\n' "$_handpick_line" >&3
  } 3>&2 2>/dev/null
}

# _handpick_forget: takes all of this out of the shell again.
_handpick_forget() {
  unset -f _handpick_find_state _handpick_select _handpick_enter _handpick_pwd _handpick_relink _handpick_date _handpick_is_time \
    _handpick_start _handpick_is_served _handpick_has_spool _handpick_claim _handpick_notify \
    _handpick_built _handpick_forget
}

# _handpick_built: puts the DRV_PATH and OUT_PATHS of Nix's post-build-hook into the spool.
_handpick_built() {
  local _handpick_state _handpick_event
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
  [ -d "$_handpick_state/spool" ] || mkdir -p "$_handpick_state/spool"
  umask 022 # a sync that is not root's has to read what root leaves
  set -C
  (
    _handpick_enter spool || exit 0
    [ ! -e ".$_handpick_event" ] && [ ! -L ".$_handpick_event" ] || rm -f ".$_handpick_event"
    # Whole or not there: a full disk cuts files short.
    # shellcheck disable=SC2086 # Nix separates the paths by spaces
    if printf '%s\n' "${DRV_PATH-}" ${OUT_PATHS-} >".$_handpick_event"; then
      mv -f ".$_handpick_event" "$_handpick_event"
    else
      rm -f ".$_handpick_event"
    fi
  )
}
