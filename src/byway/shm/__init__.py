"""Reading the shared memory of programs under Byway, and the tables that describe it. Writes nothing, ever."""
