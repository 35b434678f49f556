# Generated pictures and sound: encoded with threads, decoded, filtered; a sum for each frame.
set -eu
run=(ffmpeg -nostdin -v error -bitexact -y)
exact=(-fflags +bitexact -flags:v +bitexact -flags:a +bitexact)
source=(-f lavfi -i testsrc=duration=2:size=320x240:rate=25 -f lavfi -i sine=440:duration=2)
"${run[@]}" "${source[@]}" -c:v mpeg4 -threads 2 -c:a mp2 "${exact[@]}" film.avi
"${run[@]}" "${source[@]}" -c:v libx264 -preset fast -threads 2 -c:a aac "${exact[@]}" film.mkv
"${run[@]}" -i film.mkv -vn -c:a flac "${exact[@]}" sound.flac
"${run[@]}" -threads 2 -i film.mkv -i film.avi \
    -filter_complex '[0:v]scale=200:150,hflip[a];[1:v]scale=200:150[b];[a][b]hstack' \
    -an -f framemd5 - | tail -n 6
