# orienter-tasks: gives this shell the variables of the checkout that it is in, at each prompt (bash and zsh).
# Python runs only when something that they follow from has changed.
_orienter_entries=@ENTRIES@
_orienter_refresh=(@REFRESH@)
_orienter_seen='' _orienter_pwd='' _orienter_here=''

_orienter_prompt() {
    local code=$?
    [ -z "${ZSH_VERSION-}" ] || emulate -L ksh
    [ "$PWD" = "$_orienter_pwd" ] || { _orienter_pwd=$PWD; _orienter_here=$(pwd -P); }
    local root=$_orienter_here
    while [ -n "$root" ] && [ ! -f "$_orienter_entries$root/@.sh" ]; do
        if [ -e "$root/.git" ]; then root=''; else root=${root%/*}; fi
    done
    if [ -z "$root" ]; then
        _orienter_leave
    elif [ "$root" != "${ORIENTER_HOOK_ROOT-}" ] || [ -z "$_orienter_seen" ] || [ "$(_orienter_look)" != "$_orienter_seen" ]; then
        _orienter_leave
        _orienter_enter "$root"
    fi
    return $code
}

_orienter_look() {
    command "${_orienter_look[@]}" 2>/dev/null
}

_orienter_enter() {
    local name at given='' text IFS=' '
    . "$_orienter_entries$1/@.sh"
    _orienter_seen=$(_orienter_look)
    for name in "${_orienter_inputs[@]}"; do
        eval "given+=\${$name-}"
    done
    if [ -n "$given" ] || [ "${_orienter_seen%$'\n'*}" != "$_orienter_stamp" ]; then
        text=$(cd / && command "${_orienter_refresh[@]}" "$1" sh)
        eval "$text"
        _orienter_seen=$(_orienter_look)
    fi
    export ORIENTER_HOOK_ROOT=$1 ORIENTER_HOOK_NAMES="${_orienter_names[*]-} ${_orienter_unset[*]-}"
    for name in $ORIENTER_HOOK_NAMES; do
        eval "[ -z \"\${$name+x}\" ] || export ORIENTER_WAS_$name=\"\$$name\""
    done
    [ ${#_orienter_unset[@]} = 0 ] || unset "${_orienter_unset[@]}"
    at=0
    for name in ${_orienter_names[@]+"${_orienter_names[@]}"}; do
        export "$name=${_orienter_values[at++]}"
    done
    _orienter_values=()
}

_orienter_leave() {
    local name IFS=' '
    for name in ${ORIENTER_HOOK_NAMES-}; do
        case $name in *[!A-Za-z0-9_]*) continue ;; esac
        unset "$name"
        eval "[ -z \"\${ORIENTER_WAS_$name+x}\" ] || export $name=\"\$ORIENTER_WAS_$name\""
        unset "ORIENTER_WAS_$name"
    done
    unset ORIENTER_HOOK_ROOT ORIENTER_HOOK_NAMES
    _orienter_seen=''
}

if [ -n "${ZSH_VERSION-}" ]; then
    autoload -Uz add-zsh-hook
    add-zsh-hook precmd _orienter_prompt
else
    case ";${PROMPT_COMMAND-};" in
        *';_orienter_prompt;'*) ;;
        *) PROMPT_COMMAND="_orienter_prompt${PROMPT_COMMAND:+;$PROMPT_COMMAND}" ;;
    esac
fi
