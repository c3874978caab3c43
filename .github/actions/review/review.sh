#!/usr/bin/env bash
# Reviews specs: annotations from check, lint and breaking; what changed goes to the job's summary and to one comment,
# which later runs rewrite. Ends with 1 where there are findings, with more where something could not be run.
#
# TRTN_PATHS: specs or folders, one a line. TRTN_AGAINST: the revision to compare with; without it nothing is compared.
set -uo pipefail

marker="<!-- trtn review -->"
worst=0

# The exit status of a command counts towards the result.
counted() {
  "$@"
  local status=$?
  if ((status > worst)); then worst=$status; fi
}

# All paths as one document. That they differ (1) is no finding.
differences() {
  local path status=0
  echo "$marker"
  for path in "${paths[@]}"; do
    if ! git cat-file -e "$TRTN_AGAINST:./$path" 2>/dev/null; then
      printf '### `%s`\n\n**new**\n\n' "$path"
      continue
    fi
    trtn diff "$TRTN_AGAINST:$path" "$path" --format markdown || status=$?
  done
  if ((status > 1)); then return "$status"; fi
}

# Writes a document as the comment; GitHub takes 65,536 characters.
comment() {
  if (($(wc -c <"$1") > 60000)); then
    { head -c 60000 "$1" | sed '$d'; printf '\n</details>\n\n**the rest is in the summary of the job**\n'; } >"$1.short"
    mv "$1.short" "$1"
  fi
  local comments="repos/$GITHUB_REPOSITORY/issues/$TRTN_PULL_REQUEST/comments" old
  old=$(gh api "$comments" --paginate --jq ".[] | select(.body | startswith(\"$marker\")) | .id" | head -n 1)
  if [[ -n $old ]]; then
    gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$old" --field "body=@$1"
  else
    gh api --silent --method POST "$comments" --field "body=@$1"
  fi
}

mapfile -t paths < <(grep -v '^[[:space:]]*$' <<<"${TRTN_PATHS:-.}")

counted trtn check --format github "${paths[@]}"
counted trtn lint --format github "${paths[@]}"
if [[ -n ${TRTN_AGAINST:-} ]]; then
  if [[ ${TRTN_FAIL_ON_BREAKING:-true} == true ]]; then
    counted trtn breaking --against "$TRTN_AGAINST" --format github "${paths[@]}"
  else
    trtn breaking --against "$TRTN_AGAINST" --format github "${paths[@]}"
  fi
  document=$(mktemp)
  counted differences >"$document"
  cat "$document" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
  if [[ ${TRTN_COMMENT:-true} == true && -n ${TRTN_PULL_REQUEST:-} ]]; then
    comment "$document" || echo "::warning::the comment could not be written; it is in the job's summary"
  fi
  rm -f "$document"
fi
exit "$worst"
