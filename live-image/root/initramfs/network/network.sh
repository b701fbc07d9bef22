# Started over the network: the wired cards come up, one of them gets an address, the two layers are fetched into
# memory and proved by their digests. init reads this file where the kernel line has rescue.root=.
#
# Words on the kernel command line:
#   rescue.root=URL       the folder that holds the layers, or the boot script in it; http alone (see read_url)
#   rescue.sums=SHA256    the digest of that folder's SHA256SUMS, which in turn proves the layers
#   BOOTIF=01-MAC         the card that the kernel came through; it is asked first
#   ip=ADDRESS::GATEWAY:MASK::CARD:none:NAMESERVER    an address where nobody gives one; written as for the kernel
#
# What may pass (no cable, no lease, a server that is away, a file that is missing) is tried again until it works:
# nobody may be there to press a key. What stays wrong (a digest, too little memory) ends the start.

# What the live system works in beside the layers, MiB: measured, see live-image/README.md.
working=128
# Seconds for a card to see a link and get an address: a switch may hold a new link back for 30.
patience=60
# The layers, and what build they are.
files="root.squashfs app.squashfs media.json"
sys=${RESCUE_SYS:-/sys}
sums=/run/rescue/SHA256SUMS
# A proxy on the way may keep an older copy, or a bad one.
uncached="Cache-Control: no-cache"
said=/run/rescue/wget-said

read_words() {
    expected='' first='' static=''
    for word in $kernel_line; do
        case $word in
        rescue.sums=*) expected=${word#*=} ;;
        BOOTIF=*) first=$(echo "${word#BOOTIF=??-}" | sed 'y/ABCDEF-/abcdef:/') ;;
        ip=*:*) static=${word#*=} ;;
        esac
    done
    # The fields that are empty count: address, server, gateway, mask, name, card, how, name server.
    old=$IFS IFS=:
    set -f
    set -- $static
    set +f
    IFS=$old
    address=${1:-} gateway=${3:-} mask=${4:-} only=${6:-} servers="${8:-} ${9:-}"
}

read_url() {
    url=$1
    case $url in
    http://*) ;;
    https://*)
        give_up "$url cannot be used: this start cannot check who an https server is, and does not pretend to." \
            "Give the same folder by http:// instead. The files are proved by their digests."
        ;;
    *) give_up "$url is not an address that begins with http:// (rescue.root= on the kernel command line)." ;;
    esac
    case $url in *[!A-Za-z0-9:/._~%@+,=-]*) give_up "the address $url has characters that cannot stand in one." ;; esac
    case ${url##*/} in *.ipxe | *.efi | *.cfg) url=${url%/*} ;; esac
    url=${url%/}
}

mac_of() { cat "$sys/class/net/$1/address"; }

# All wired cards, the one that the kernel came through before the others.
cards() {
    rest=
    for folder in $sys/class/net/*; do
        card=${folder##*/}
        [ -e "$folder/device" ] && [ "$(cat "$folder/type")" = 1 ] && [ ! -e "$folder/wireless" ] || continue
        [ -z "$only" ] || [ "$only" = "$card" ] || [ "$only" = "$(mac_of "$card")" ] || continue
        if [ "$(mac_of "$card")" = "$first" ]; then echo "$card"; else rest="$rest $card"; fi
    done
    for card in $rest; do echo "$card"; done
}

with_macs() {
    for card in $1; do echo "$card ($(mac_of "$card"))"; done
}

# What is on the PCI bus as a network card, but has no driver here.
without_driver() {
    for device in $sys/bus/pci/devices/*; do
        case $(cat "$device/class" 2>/dev/null) in 0x02*) ;; *) continue ;; esac
        [ -e "$device/driver" ] || echo "$(sed 's/^0x//' "$device/vendor"):$(sed 's/^0x//' "$device/device")"
    done
}

get_address() {
    if [ -z "$address" ]; then
        udhcpc -i "$1" -f -n -q -t 4 -T 3 -s /lib/rescue/lease > /dev/null 2>&1
        return
    fi
    ip address add "$address/${mask:-24}" broadcast + dev "$1" || return 1
    [ -z "$gateway" ] || ip route add default via "$gateway" dev "$1"
    for server in $servers; do echo "nameserver $server"; done > /etc/resolv.conf
}

# wget's last words, without its name.
last_words() { sed -n '$s/^wget: //p' $said; }

# An answer that asking again does not change: 404 and its like.
is_refusal() {
    case $(last_words) in "server returned error: HTTP/"?.?" 4"*) return 0 ;; esac
    return 1
}

# The digests come first: they are small, and show whether the server can be reached through this card.
reach() { wget -q -T 10 --header "$uncached" -O $sums "$url/SHA256SUMS" 2> $said; }

connect_once() {
    until=$(($(seconds) + patience)) linked='' leased=''
    while [ "$(seconds)" -lt $until ]; do
        load_drivers
        for card in $(cards); do
            ip link set "$card" up 2>/dev/null
            [ "$(cat "$sys/class/net/$card/carrier" 2>/dev/null)" = 1 ] || continue
            linked="$linked $card"
            get_address "$card" || continue
            leased=$card
            if reach; then return 0; fi
            ! is_refusal || return 1
            ip address flush dev "$card"
        done
        sleep 1
    done
    return 1
}

# Why there is no connection: what was seen last, in words.
why_not() {
    found=$(cards)
    if [ -n "$leased" ]; then
        echo "$url/SHA256SUMS cannot be fetched through $(with_macs "$leased"): $(last_words)."
    elif [ -n "$linked" ]; then
        linked=$(echo $linked | xargs -n 1 echo | sort -u)
        echo "nobody gave this computer an address (DHCP) on" $(with_macs "$linked").
    elif [ -n "$found" ]; then
        echo "no cable is plugged in, or its other end is off:" $(with_macs "$found").
    elif [ -n "$only" ]; then
        echo "there is no network card $only, which ip= on the kernel command line names."
    else
        without=$(without_driver)
        echo "no network card was found${without:+; without a driver here:} $(echo $without)."
    fi
}

try_again() {
    say "Rescue cannot start yet: $1"
    say "It is tried again in 30 seconds. Enter: a shell on this console."
    ! read -r -t 30 _ < /dev/console || setsid cttyhack sh
}

connect() {
    say "Looking for the network ..."
    until connect_once; do try_again "$(why_not)"; done
    say "Connected through $card: $(ip -4 -o address show dev "$card" | sed -n 's/.* inet \([^ ]*\).*/\1/p')"
}

prove_sums() {
    if [ -z "$expected" ]; then
        say "The kernel command line has no rescue.sums=: what is fetched is compared with what the server says alone."
    elif [ "$(sha256sum < $sums)" != "$expected  -" ]; then
        give_up "$url/SHA256SUMS belongs to another build than this kernel." \
            "The folder was changed while this computer started, or a proxy keeps an old copy. Start again."
    fi
}

size_in_sums() { sed -n "s/^# size \([0-9]*\) $1\$/\1/p" $sums; }

digest_in_sums() { sed -n "s/^\([0-9a-f]\{64\}\)  $1\$/\1/p" $sums; }

check_memory() {
    while read -r name kib _; do
        case $name in MemTotal:) total=$kib ;; MemAvailable:) available=$kib ;; esac
    done < "${RESCUE_MEMINFO:-/proc/meminfo}"
    needed=$((layers / 1024 + working * 1024))
    [ $available -ge $needed ] ||
        give_up "there is too little memory: $((total / 1024)) MiB, and starting over the network needs $(((total - available + needed) / 1024 + 1)) MiB." \
            "A stick or a disc needs less: they need not be held in memory."
}

bytes_of() { stat -c %s "$1" 2>/dev/null || echo 0; }

# Each fifth of a layer is one line: a serial console may be slow, and have no way back up.
show_progress() {
    fifth=$(($(bytes_of "$target") * 5 / $size))
    [ $fifth -gt $shown ] && [ $size -gt 1048576 ] || return
    shown=$fifth
    say "$1: $((fifth * 20)) % of $(((size + 1048575) / 1048576)) MiB"
}

# Fetch a file from where it is; a server that knows no ranges sends it anew, and wget begins again.
fetch() {
    tries=0
    while [ "$(bytes_of "$target")" -lt $size ]; do
        before=$(bytes_of "$target")
        wget -q -c -T 20 -O "$target" "$@" 2> $said &
        pid=$!
        while kill -0 $pid 2>/dev/null; do
            sleep 1
            show_progress "$layer"
        done
        wait $pid
        have=$(bytes_of "$target")
        [ "$have" -lt $size ] || break
        tries=$((tries + 1))
        [ "$have" -le "$before" ] || tries=1
        if is_refusal || [ $tries -gt 5 ]; then
            try_again "$url/$layer cannot be fetched: $(last_words)."
            tries=0
        else
            say "$layer was cut off at $((have / 1048576)) of $((size / 1048576)) MiB; going on from there ..."
            sleep 2
        fi
    done
}

fetch_proved() {
    layer=$1
    target=$medium/rescue/$layer size=$(size_in_sums "$layer") digest=$(digest_in_sums "$layer") shown=0
    fetch "$url/$layer"
    [ "$(sha256sum < "$target")" != "$digest  -" ] || return 0
    say "$layer did not arrive as it was made (its SHA-256 is another); fetching it once more ..."
    rm "$target"
    shown=0
    fetch --header "$uncached" "$url/$layer"
    [ "$(sha256sum < "$target")" = "$digest  -" ] ||
        give_up "$url/$layer is damaged: its SHA-256 is not the one in SHA256SUMS, twice." \
            "Copy the folder to the server again, and run sha256sum -c SHA256SUMS there."
}

layers_from_network() {
    mkdir -p /etc
    read_words
    read_url "$1"
    connect
    prove_sums
    layers=0
    for file in $files; do
        [ -n "$(size_in_sums $file)" ] && [ -n "$(digest_in_sums $file)" ] ||
            give_up "$url/SHA256SUMS says nothing of $file: it is not the folder of a build."
        layers=$((layers + $(size_in_sums $file)))
    done
    check_memory
    mount -t tmpfs -o "mode=0755,size=$((layers / 1024 + 1024))k" tmpfs $medium
    mkdir $medium/rescue
    for file in $files; do
        fetch_proved $file
        # As on a stick or a disc; the live system checks what it runs from by it.
        echo "$(digest_in_sums $file)  rescue/$file" >> $medium/rescue/SHA256SUMS
    done
    mount -o remount,ro $medium
    rm -f $sums $said
    # What the live system says of where it came from; the address holds no character that JSON would want escaped.
    printf '{"url": "%s", "mac": "%s", "proved": %s}\n' "$url" "$(mac_of "$card")" \
        "$([ -n "$expected" ] && echo true || echo false)" > /run/rescue/network-boot.json
}

# Names stay known until dhcpcd has asked anew, and for good where the address was given on the command line.
keep_name_servers() { [ ! -s /etc/resolv.conf ] || cp /etc/resolv.conf /sysroot/etc/resolv.conf; }
