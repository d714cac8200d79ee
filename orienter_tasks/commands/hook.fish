# orienter-tasks: gives this shell the variables of the checkout that it is in, at each prompt.
# Python runs only when something that they follow from has changed.
set -g _orienter_entries @ENTRIES@
set -g _orienter_refresh @REFRESH@
set -g _orienter_seen

function _orienter_prompt --on-event fish_prompt
    set -l code $status
    set -l root (pwd -P)
    while test -n "$root"; and not test -f "$_orienter_entries$root/@.fish"
        if test -e "$root/.git"
            set root ''
        else
            set root (string replace -r '/[^/]*$' '' -- $root)
        end
    end
    if test -z "$root"
        _orienter_leave
    else if test "$root" != "$ORIENTER_HOOK_ROOT"; or test -z "$_orienter_seen"; or test "$(_orienter_look)" != "$_orienter_seen"
        _orienter_leave
        _orienter_enter $root
    end
    return $code
end

function _orienter_look
    command $_orienter_look 2>/dev/null | string collect
end

function _orienter_enter
    source "$_orienter_entries$argv[1]/@.fish"
    set -g _orienter_seen "$(_orienter_look)"
    set -l given
    for name in $_orienter_inputs
        set -a given $$name
    end
    if test -n "$given"; or test "$(string replace -r '\n[^\n]*$' '' -- $_orienter_seen | string collect)" != "$_orienter_stamp"
        set -l text (sh -c 'cd / && exec "$@"' sh $_orienter_refresh $argv[1] fish | string collect)
        eval $text
        set -g _orienter_seen "$(_orienter_look)"
    end
    set -gx ORIENTER_HOOK_ROOT $argv[1]
    set -gx ORIENTER_HOOK_NAMES ''
    for name in $_orienter_unset
        _orienter_save $name
        set -e $name
    end
    set -l at 1
    for name in $_orienter_names
        _orienter_save $name
        set -gx $name $_orienter_values[$at]
        set at (math $at + 1)
    end
    set -g _orienter_values
end

function _orienter_save
    if set -q $argv[1]
        set -l name $argv[1]
        set -gx ORIENTER_WAS_$name "$$name"
    end
    set -gx ORIENTER_HOOK_NAMES "$ORIENTER_HOOK_NAMES $argv[1]"
end

function _orienter_leave
    for name in (string match -ar '[A-Za-z0-9_]+' -- "$ORIENTER_HOOK_NAMES")
        set -e $name
        set -l was ORIENTER_WAS_$name
        if set -q $was
            set -gx $name "$$was"
            set -e $was
        end
    end
    set -e ORIENTER_HOOK_ROOT
    set -e ORIENTER_HOOK_NAMES
    set -g _orienter_seen
end
