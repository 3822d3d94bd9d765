python -c 'import json, sys; json.dump({"body": open("gate.md").read()}, sys.stdout)' |
  curl --fail-with-body --silent --show-error --output /dev/null --json @- \
    --header "Authorization: Bearer $COMMENT_TOKEN" \
    "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments"
