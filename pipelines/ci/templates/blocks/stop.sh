penstock stop @PROJECT@
