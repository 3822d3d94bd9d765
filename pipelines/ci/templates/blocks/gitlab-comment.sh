if [ -n "$COMMENT_TOKEN" ]; then
  curl --fail-with-body --silent --show-error --output /dev/null --data-urlencode body@gate.md \
    --header "PRIVATE-TOKEN: $COMMENT_TOKEN" \
    "$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes"
else
  echo 'No comment: the variable COMMENT_TOKEN is not set.'
fi
