penstock schedule sync @PROJECT@ --check
