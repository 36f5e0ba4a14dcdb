"""ManiSkill and PhysX: many scenes per process, many processes, pictures."""
