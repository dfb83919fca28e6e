{ perSystem, ... }: perSystem.self.flt
