# Hears of programs (`+ ID`, `- ID`) and folders (`folder PATH`) on stdin. When stdin ends, the test process is gone:
# what is left is ended by its id and removed.
ids=' '
folders=
while read -r what which; do
  case $what in
  +) ids="$ids$which " ;;
  -) ids=$(printf '%s' "$ids" | sed "s/ $which / /") ;;
  folder) folders="$folders$which
" ;;
  esac
done
for id in $ids; do kill -9 "$id" 2>/dev/null; done
printf '%s' "$folders" | while read -r folder; do rm -rf --one-file-system -- "$folder"; done
exit 0
