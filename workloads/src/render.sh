# A document rendered to images and text, made a PDF, and the PDF rendered.
set -eu
gs=(gs -q -dBATCH -dNOPAUSE -dSAFER)
"${gs[@]}" -sDEVICE=png16m -r100 -dTextAlphaBits=4 -o page-%d.png drawing.ps
"${gs[@]}" -sDEVICE=txtwrite -o drawing.txt drawing.ps
"${gs[@]}" -sDEVICE=pdfwrite -o drawing.pdf drawing.ps
"${gs[@]}" -sDEVICE=jpeg -dNumRenderingThreads=2 -r72 -o page-%d.jpg drawing.pdf
