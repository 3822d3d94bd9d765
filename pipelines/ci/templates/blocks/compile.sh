penstock compile @PROJECT@ -o release.yaml
