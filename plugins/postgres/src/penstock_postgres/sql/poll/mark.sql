SELECT xid, key FROM {marks} WHERE table_name = %(table)s AND reader = %(reader)s
