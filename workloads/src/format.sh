# A manual of many pages, for a terminal and for a printer; without dates in the result.
set -eu
for ((i = 0; i < 60; i++)); do sed "s/NUMBER/$i/g" manual.1; done >long.1
export SOURCE_DATE_EPOCH=0 GROFF_NO_SGR=1
groff -t -man -Tutf8 long.1 >manual.txt
groff -t -man -Tps -P-pletter long.1 | sed '/^%%Creator/d' >manual.ps
nroff -man manual.1 | sed -n '1,20p'
