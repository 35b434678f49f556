# Pack with two threads, test, unpack.
set -eu
xz -T2 --block-size=2MiB -2 data.bin
xz -T2 --test data.bin.xz
xz -T2 --decompress --keep data.bin.xz
