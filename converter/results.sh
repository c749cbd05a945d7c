#!/bin/sh
# The rows of the lab pages on calibrated bits: what allocation, tuned gates, refinement and rounds
# are worth at equal bytes.
#
#   sh converter/results.sh HARDTACK CHECKPOINT FOLDER "NAME=TEXT NAME=TEXT" JUDGE_TEXT...
#
# bakes CHECKPOINT into FOLDER at 1.5 to 3.5 bits an expert, calibrated on the named texts, by every method, and judges every
# blob on the texts that follow: perplexity, and divergence from the checkpoint in bf16, with 95 % intervals against the first
# method. Reports lie in FOLDER as JSON and come out as a table. What is there already is not made again: after an interrupt the
# same command goes on. BITS, METHODS, WINDOWS and TOKENS (to calibrate on) in the environment ask for something else; a dense
# model has METHODS="rounded allocated" at whole BITS.
set -eu
hardtack=$1 checkpoint=$2 folder=$3 calibration=$4
shift 4
methods=${METHODS:-uniform per-layer global tuned refined}
first=${methods%% *}
judge="--ctx 512 --windows ${WINDOWS:-32} --threads 1 --json"
calibrated="${TOKENS:+--calib-tokens $TOKENS} --judge-tokens 2048 --kv-tokens 0"
for text in $calibration; do calibrated="$calibrated --calib $text"; done
mkdir -p "$folder"

# bake NAME FLAGS...
bake() {
    name=$1
    shift
    [ -f "$name.tack" ] && return
    # One name for all, so that they share one calibration.
    "$hardtack" bake "$checkpoint" "$@" -o "$folder/next.tack" >"$name.txt"
    mv "$folder/next.tack" "$name.tack"
}

# report FILE KIND BLOB AGAINST TEXT: whole or not at all.
report() {
    [ -f "$1" ] && return
    # shellcheck disable=SC2086
    "$hardtack" eval "$2" "$3" --against "$4" --text "$5" $judge >"$1.partial"
    mv "$1.partial" "$1"
}

bake "$folder/bf16" --bits bf16
for bits in ${BITS:-1.5 2.0 2.5 3.0 3.5}; do
    for method in $methods; do
        own="$folder/$bits-$method"
        # shellcheck disable=SC2086
        case $method in
        rounded) bake "$own" --bits "$bits" ;;
        allocated) bake "$own" $calibrated --budget "$(wc -c <"$folder/$bits-$first.tack")" ;;
        tuned) bake "$own" $calibrated --bits-per-expert "$bits" ;;
        refined) bake "$own" $calibrated --bits-per-expert "$bits" --refine ;;
        *) bake "$own" $calibrated --bits-per-expert "$bits" --allocation "$method" --tune 0 ;;
        esac
        for text in "$@"; do
            on="$own-$(basename "$text" .txt)"
            report "$on.kld.json" kld "$own.tack" "$folder/bf16.tack" "$text"
            [ "$method" = "$first" ] || report "$on.ppl.json" ppl "$own.tack" "$folder/$bits-$first.tack" "$text"
        done
    done
done
python3 "$(dirname "$0")/results.py" "$folder" "$@"
