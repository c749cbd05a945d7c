#!/bin/sh
# Draws every .dot file of this folder as .svg (Graphviz: `dot`).
set -eu
cd "$(dirname "$0")"
for drawing in *.dot; do
    dot -Tsvg "$drawing" | sed '/^<!--/d; / -->$/d' >"${drawing%.dot}.svg"
done
