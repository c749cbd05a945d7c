#!/bin/sh
# HellaSwag's validation file as a text to judge a model on: the contexts of its first items, each with its right ending.
#
#   sh converter/hellaswag.sh hellaswag_val_full.txt.bz2 [ITEMS] >hellaswag.txt
#
# The file has six lines an item: "topic: context", the number of the right ending from 0, and four endings.
set -eu
bzip2 -dc "$1" | awk -v items="${2:-2000}" '
    NR % 6 == 1 { if (NR > 6 * items) exit; sub(/^[^:]*: /, ""); context = $0 }
    NR % 6 == 2 { right = (NR + 1 + $0) }
    NR > 2 && NR == right { print context " " $0 }'
